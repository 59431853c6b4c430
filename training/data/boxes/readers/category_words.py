"""Names of the categories of COCO's instances in captions."""

from captioner.text.vocabulary import tokenise
from training.data.boxes.readers.noun_forms import plural, singular

SYNONYMS = {
    "person": (
        "man, woman, boy, girl, child, kid, baby, toddler, infant, teenager, adult, guy, lady, gentleman, human,"
        " someone, somebody, crowd, mother, father, mom, dad, son, daughter, brother, sister, friend, bride, groom,"
        " student, player, athlete, batter, hitter, pitcher, catcher, umpire, referee, runner, golfer, swimmer,"
        " teammate, skier, snowboarder, skateboarder, skater, surfer, rider, jockey, cowboy, cyclist, bicyclist, biker,"
        " motorcyclist, driver, passenger, pedestrian, worker, officer, policeman, policewoman, fireman, firefighter,"
        " soldier, chef, cook, waiter, waitress, businessman, vendor, customer, tourist, spectator, onlooker, bystander"
    ),
    "bicycle": "bike",
    "car": "automobile, sedan, taxi, cab, suv, jeep, van, minivan, vehicle",
    "motorcycle": "motorbike, bike, motor bike, moped, scooter",
    "airplane": "plane, aeroplane, air plane, jet, aircraft, airliner, jetliner, biplane",
    "bus": "minibus, school bus, tour bus, vehicle",
    "train": "locomotive, tram, subway train",
    "truck": "pickup, pickup truck, lorry, fire truck, semi, van, vehicle",
    "boat": "ship, sailboat, canoe, kayak, yacht, ferry, rowboat, motorboat, speedboat, gondola",
    "traffic light": "traffic signal, stop light, signal",
    "fire hydrant": "hydrant",
    "stop sign": "sign",
    "parking meter": "meter",
    "bench": "park bench",
    "bird": (
        "seagull, gull, pigeon, duck, duckling, goose, swan, parrot, owl, eagle, hawk, crow, sparrow, pelican, penguin,"
        " flamingo, peacock, ostrich, hummingbird, rooster, hen, chicken"
    ),
    "cat": "kitten, kitty",
    "dog": "puppy, pup, doggy",
    "horse": "pony, foal, colt, mare, stallion",
    "sheep": "lamb, ewe, ram",
    "cow": "bull, calf, cattle, ox, steer",
    "elephant": "",
    "bear": "polar bear, brown bear, grizzly, cub, bear cub",
    "zebra": "",
    "giraffe": "",
    "backpack": "knapsack, rucksack, bag",
    "umbrella": "parasol",
    "handbag": "purse, bag",
    "tie": "necktie, bow tie",
    "suitcase": "luggage, briefcase, bag",
    "frisbee": "disc, disk",
    "skis": "ski",
    "snowboard": "board",
    "sports ball": "ball, tennis ball, soccer ball, beach ball",
    "kite": "",
    "baseball bat": "bat",
    "baseball glove": "glove, mitt, baseball mitt",
    "skateboard": "board",
    "surfboard": "board",
    "tennis racket": "racket, racquet, tennis racquet",
    "bottle": "",
    "wine glass": "glass, goblet",
    "cup": "mug, glass, teacup",
    "fork": "utensil, silverware, cutlery",
    "knife": "utensil, silverware, cutlery",
    "spoon": "utensil, silverware, cutlery",
    "bowl": "",
    "banana": "",
    "apple": "",
    "sandwich": "burger, hamburger, cheeseburger",
    "orange": "tangerine, mandarin",
    "broccoli": "",
    "carrot": "",
    "hot dog": "",
    "pizza": "",
    "donut": "doughnut",
    "cake": "cupcake, birthday cake",
    "chair": "armchair, seat, stool",
    "couch": "sofa, loveseat",
    "potted plant": "plant, house plant",
    "bed": "",
    "dining table": "table, desk",
    "toilet": "toilet bowl, commode",
    "tv": "television, television set, tv set, t v, monitor, screen",
    "laptop": "laptop computer, computer, notebook computer",
    "mouse": "computer mouse",
    "remote": "remote control, controller, wii remote, wii controller",
    "keyboard": "computer keyboard",
    "cell phone": "phone, mobile phone, mobile, smart phone, iphone, telephone",
    "microwave": "microwave oven",
    "oven": "stove",
    "toaster": "",
    "sink": "wash basin",
    "refrigerator": "fridge, freezer",
    "book": "",
    "clock": "",
    "vase": "",
    "scissors": "",
    "teddy bear": "teddy, bear, stuffed bear, stuffed animal, stuffed toy",
    "hair drier": "hair dryer, dryer, drier, blow dryer",
    "toothbrush": "tooth brush",
}
"""COCO's category -> other words for it in captions that seldom mean anything else; singular, separated by commas."""


def names_of(category: str) -> frozenset[str]:
    """Return every name of a category, tokenised: its own and its synonyms, singular and plural.

    Names of several words, separated by single spaces, are also included joined (hotdog) and with hyphens (hot-dog).
    A category that is not in SYNONYMS has only its own name.
    """
    own_name = " ".join(tokenise(category))
    texts = [own_name, *SYNONYMS.get(own_name, "").split(",")]
    return frozenset(name for text in texts if (words := tokenise(text)) for name in _inflect(words))


def _inflect(words: list[str]) -> list[str]:
    head = singular(words[-1])
    forms = [[*words[:-1], ending] for ending in (words[-1], head, plural(head))]
    return [separator.join(form) for form in forms for separator in (" ", "-", "")]
