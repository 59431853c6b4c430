"""Counts of how often a decoder runs."""


def count_runs(decoder):
    """Return a list to which each run of a decoder over captions adds their shape."""
    shapes, run = [], decoder.output_vectors

    def counted(annotations, tokens, *arguments, **options):
        shapes.append(tuple(tokens.shape))
        return run(annotations, tokens, *arguments, **options)

    decoder.output_vectors = counted
    return shapes
