"""What the service says of its captioner."""

from captioner.captioner import Captioner
from service.captioning import model_version


def test_the_captioner_in_use_is_described(client, tiny_bundle):
    document = client.get("/api/models/current").json()
    assert document == {
        "version": model_version(tiny_bundle),
        "name": "default",
        "encoder": tiny_bundle.config.encoder,
        "image_size": 64,
        "fit": "crop",
        "grid": [2, 2],
        "words": 14,
        "decoding": tiny_bundle.decoding.to_json(),
        "scores": {},
        "card": "# A card, naïve\n",
        "device": "cpu",
    }


def test_captions_say_which_captioner_made_them(start, make_bundle, tiny_bundle, jpeg):
    versions = []
    for bundle in (tiny_bundle, make_bundle(seed=1), make_bundle(seed=1)):
        client = start(Captioner(bundle, "cpu")).client
        document = client.post("/api/captions", content=jpeg, headers={"Content-Type": "image/jpeg"}).json()
        assert document["model"]["version"] == client.get("/api/models/current").json()["version"]
        versions.append(document["model"]["version"])
    assert versions[0] != versions[1] == versions[2]
