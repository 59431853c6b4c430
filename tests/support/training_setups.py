"""Training setups, made by the same steps as `training fit`."""

from captioner.ranks import ALONE
from training.data.training_data import training_data
from training.encoding import encode_features
from training.setup import TrainingSetup, build_model, choose_vocabulary, make_criterion, print_vocabulary


def make_training_setup(
    data, config, decoding, options, cache, weights_file=None, device=None, start=None, replay=None, boxes=None,
    ranks=ALONE, label_names=None, texts=None, also=(),
):  # fmt: skip
    """Make a training setup. data, also: DataSet of --data, and those of --also; the rest as in training.setup."""
    split_data = training_data([data, *also], config, options, replay, boxes)
    words = choose_vocabulary(split_data, config, options, start, label_names, texts, ranks)
    model, weights = build_model(config, words, options, weights_file, start, device)
    print_vocabulary(words, ranks)
    features = encode_features(split_data, model, words.vocabulary, decoding, options, cache, ranks=ranks)
    criterion = make_criterion(model, words, features[0], options, start)
    return TrainingSetup(split_data, words, model, weights, decoding, *features, criterion, start)
