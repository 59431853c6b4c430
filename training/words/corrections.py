"""Manual corrections to WordNet's data about words of photo captions; `training.words.make` applies them.

The 500 most frequent words of captions were checked one by one.
"""

FUNCTION_WORDS = {
    "determiners": frozenset(
        "a an the his her their its my your our this that these those some any no each every another other"
        " both all either neither one same such".split()
    ),
    "quantities": frozenset("several many few multiple much more most lot lots bunch various numerous".split()),
    "prepositions": frozenset(
        "in on of with at to by near into from through over under onto behind beside beneath below above"
        " across along around against between among amongst amidst amid inside outside off out down up upon"
        " for as about after before during without within toward towards past underneath atop like than"
        " alongside next via while beyond throughout aboard until since except per opposite despite outta w".split()
    ),
    "conjunctions": frozenset(
        "and or but nor so because if though although whether where when who which whose".split()
    ),
    "auxiliaries": frozenset(
        "is are was were be been being am has have had having do does did can could will would may might must"
        " should 's isn't aren't doesn't don't can't didn't hasn't cannot".split()
    ),
    "pronouns": frozenset(
        "he she it they them him himself herself itself themselves you i we us me something someone somebody"
        " anything everyone everything nothing what whom themself one's hers theirs there here nowhere"
        " somewhere anywhere everywhere others ones it's he's she's there's that's they're".split()
    ),
    "adverbs": frozenset(
        "very just also too not only even still together away back well almost nearly ready how why then now"
        " again apart forward backward backwards sideways down upside outdoors indoors outside inside nearby"
        " overhead downhill uphill upward upwards downward downwards ahead aside close closely far further"
        " side-by-side up-close really quite rather mostly partially fully completely enough less least else"
        " alone etc t s d ll re ve m oh ok please yes perhaps maybe apparently possibly seemingly likely".split()
    ),
}
"""Function words by class, including positions ("near", "outside")."""

NUMBERS = {
    "two": "two", "three": "three", "four": "four", "five": "five", "six": "six", "seven": "seven", "eight": "eight",
    "nine": "nine", "ten": "ten", "eleven": "eleven", "twelve": "twelve", "thirteen": "thirteen", "twenty": "twenty",
    "thirty": "thirty", "forty": "forty", "fifty": "fifty", "hundred": "hundred", "dozen": "dozen", "2": "two",
    "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven", "8": "eight", "9": "nine", "10": "ten",
    "11": "eleven", "12": "twelve", "20": "twenty", "30": "thirty", "100": "hundred",
}  # fmt: skip
"""Number -> its base form. "One" is excluded, because it is more often a pronoun."""

PICTURE_NOUNS = frozenset(
    "front top side sides group groups couple couples pair pairs background foreground middle center centre back"
    " bottom left right end ends edge edges corner corners picture pictures photo photos photograph photographs"
    " image images pic pics view views shot shots scene scenes closeup close-up portrait variety set sets row rows"
    " number distance way ways day days daytime time times area areas place places spot spots position direction"
    " directions air mid-air midair thing things stuff type types kind kinds sort part parts piece pieces bit half"
    " color colors colour colours style action motion process attempt order case amount lot lots bunch bunches"
    " collection assortment array selection series range display displays fun job effort length height size shape"
    " shapes interior exterior surroundings setting location session moment name names addition manner mode means"
    " purpose reason result example idea fact course focus angle perspective cluster stack stacks pile piles batch"
    " event item items object objects line lines level close-ups backdrop presence activity activities use section"
    " sections proximity preparation stance progress conjunction company behalf midst mid body bodies slice slices"
    " herd herds flock flocks".split()
)
"""Nouns about the picture or its layout that name no object: they are no content words."""

NOUNS = frozenset(
    "teenager archer match people dirt metal concrete stone plastic cardboard straw iron rubber remote jet motor"
    " camp bass cherry peanut husky mass layer cleaner butcher cutter salmon teen human model sound utility"
    " pedestrian key skis clothing parking lot painting bowling sticks skateboards boards boxes faces games fries"
    " chips hoops snowboards crafts designs holes pads notes rolls tiles scales towers treats frames seat seats"
    " pets drinks tops blocks glasses sunglasses sign signs game board phone court wave waves tracks jeans shorts"
    " pants phones lights bags tie ties brick glass steel marble bamboo leather denim wool fur bronze copper"
    " aluminum railroad lap wii biker bikers wetsuit wetsuits hoodie hoodies nintendo bmx motocross atv atvs"
    " firetruck firetrucks selfie selfies trashcan trashcans wheelie wheelies rollerskates iphone smartphone mic"
    " kayaker kayakers starbucks innertube tracksuit tracksuits bodysuit bodysuits wakeboarder wakeboard earbuds"
    " nightstand nightstands pitbull skatepark windsurfer windsurfers whiteboard wakeboarding piercings backflip"
    " hardhat dalmatian half-pipe halfpipe hairdryer stovetop coworker coworkers hotdog hotdogs hot_dog hot_dogs"
    " teddy_bear teddy_bears fire_hydrant fire_hydrants fire_truck fire_trucks fire_engine tee-shirt tshirt"
    " tshirts tee-shirts rollerskaters rollerskater skiier skiiers snowboarder barista kneepads superhero"
    " astroturf cooktop placemat motorhome windsurf frisbees crowd climber spectators feet swing reflection spring"
    " ceramic tabby calico terrier beagle collie chihuahua spaniel retriever shepherd".split()
)
VERBS = frozenset(
    "look looks looking rest rests turn turns use uses using watch walk run ride work play stand jump swim skate"
    " surf pose move cross pass lay lays laid seated squat sporting jumps rides walks plays works hit catch wait"
    " covers cooks reach texting breakdancing rollerskating waterskiing kickboxing hula-hooping parasailing"
    " para-sailing dressed parked topped lined says say saying fall falls falling".split()
)
ADJECTIVES = frozenset(
    "white black blue red green yellow brown orange gray grey pink purple tan beige blond blonde dark light"
    " bright young old little small large big tall short long high wooden grassy snowy sandy rocky empty full open"
    " dirty clean colorful wet hot cold stuffed striped plaid asian african american silver gold khaki male female"
    " living adult shirtless blond-hair red-hair blond-haired red-haired long-sleeved short-sleeved long-sleeve"
    " short-sleeve multi asleep closer longer lower warmer lighter crowded broken older younger elderly"
    " middle-aged filled".split()
)
"""Words that are always nouns, verbs or adjectives in captions, whatever else they can be."""

BASES = {
    "people": "person", "persons": "person", "laying": "lie", "lays": "lie", "lay": "lie", "laid": "lie",
    "lying": "lie", "lies": "lie", "seated": "sit", "sat": "sit", "skis": "ski", "skiis": "ski", "glasses": "glass",
    "sunglasses": "sunglasses", "jeans": "jeans", "shorts": "shorts", "pants": "pants", "swinging": "swing",
    "swings": "swing", "swung": "swing", "tied": "tie", "tying": "tie", "graffiti": "graffiti", "says": "say",
    "cola": "cola", "vase": "vase", "vases": "vase", "wares": "ware", "wearing": "wear", "wears": "wear",
    "worn": "wear", "wore": "wear", "biker": "biker", "bikers": "biker", "stairs": "stairs", "stair": "stairs",
    "hot_dogs": "hot_dog", "hotdogs": "hot_dog", "hotdog": "hot_dog", "teddy_bears": "teddy_bear",
    "fire_hydrants": "fire_hydrant", "fire_trucks": "fire_truck", "fire_engine": "fire_truck",
    "firetruck": "fire_truck", "firetrucks": "fire_truck", "tshirt": "t-shirt", "tee-shirt": "t-shirt",
    "tshirts": "t-shirt", "tee-shirts": "t-shirt", "t-shirts": "t-shirt", "grey": "gray", "blonde": "blond",
    "racquet": "racket", "racquets": "racket", "doughnut": "donut", "doughnuts": "donut", "instruments": "instrument",
    "leaves": "leaf", "dice": "dice", "cookie": "cookie", "cookies": "cookie", "oranges": "oranges",
    "khakis": "khakis", "fries": "fries", "wetsuits": "wetsuit", "hoodies": "hoodie", "atvs": "atv",
    "selfies": "selfie", "trashcans": "trashcan", "wheelies": "wheelie", "kayakers": "kayaker",
    "tracksuits": "tracksuit", "bodysuits": "bodysuit", "windsurfers": "windsurfer", "coworkers": "coworker",
    "nightstands": "nightstand", "frisbees": "frisbee", "skiier": "skier", "skiiers": "skier",
    "rollerskaters": "rollerskater", "texting": "text", "goggles": "goggles", "scissors": "scissors",
    "colourful": "colorful", "clothes": "clothing", "moustache": "mustache", "moustaches": "mustache",
    "pyjamas": "pajamas", "pajamas": "pajamas", "puppies": "puppy", "airplane": "plane", "airplanes": "plane",
    "aeroplane": "plane", "long-sleeve": "long-sleeved", "short-sleeve": "short-sleeved",
    "blond-hair": "blond-haired", "red-hair": "red-haired", "cellphone": "phone", "cellphones": "phone",
    "telephone": "phone", "telephones": "phone", "tv": "television", "tvs": "television", "televisions": "television",
    "mic": "microphone", "travelling": "travel", "travelled": "travel",
}  # fmt: skip
"""Word -> its base form; two spellings of a word share one."""

UNRELATED = frozenset(
    "plate bench cover seat racket bat mouse bike jersey outfit dance trick step gear court table drink stop pole"
    " cell home bar circle star roller club note screen net post station swing ball racing trip company plant bow"
    " palm poster mug crane pillar tiger turkey wood van paint pitcher chip heel scout dirt record character derby"
    " mohawk heart power call bank button trailer york pin dot steer saw cricket batter polo punch act pool patch"
    " pan rail stage band head face hand foot arm leg cock tank sheet signal track tracks field bed fire plain"
    " string watch yard fair service press stand bowl shower safety country cream meat tea sign decker picnic"
    " subway cape pad mat lid pot sink spring fan dock bull cart cap model tag match surf key nut kid jumper tee"
    " strip light monitor counter desk piece sport sports party bun nail mark tip trunk horn file frame pen shell"
    " box base batting crosswalk crossing camp cards card deck suit lead lap controller bikini scooter say fall"
    " grill roll brush mouth parking burger stroller cooky bass hood puck class navy love santa hot_dog clown"
    " wheelie letter cast shepherd".split()
)
"""Words whose WordNet synonyms and hypernyms belong to another meaning; the tables below replace them."""

SYNONYMS = (
    "street road, man guy, woman lady, child kid, couch sofa, ocean sea, bike bicycle, motorcycle motorbike,"
    " refrigerator fridge, woods forest, wood woods, stairs step, path trail, rug carpet, store shop, bathroom"
    " restroom, trash garbage, counter countertop, dock pier, slope hillside, hill hillside, hill slope, rock"
    " boulder, rock stone, crowd audience, spectator fan, sign billboard, rail railing, suitcase luggage, purse"
    " handbag, drink beverage, burger hamburger, cyclist bicyclist, biker cyclist, biker bicyclist, biker"
    " motorcyclist, cop policeman, firefighter fireman, baby infant, puppy pup, pavement sidewalk, clothing"
    " attire, clothing apparel, clothing outfit, outfit costume, scarf bandana, cup mug, gym gymnasium, tub"
    " bathtub, bath bathtub, person someone, person somebody, person individual, person human, player athlete,"
    " photographer cameraman, skateboard board, surfboard board, snowboard board, trashcan bin, faucet tap, soda"
    " coke, microphone mike, gentleman man, mom mother, dad father, grandma grandmother, stage platform, seagull"
    " gull, sweatshirt hoodie, pumpkin squash, talk speak, talk chat, talk converse, talk discuss, jump leap, jump"
    " hop, throw toss, pull tow, pull drag, grab catch, hug embrace, cut chop, fix repair, buy purchase, wash"
    " rinse, display show, cook prepare, kneel crouch, crouch squat, smile grin, decorate adorn, eat dine, fly"
    " soar, travel go, travel move, go move, lie rest, lie recline, sit lounge, look stare, look gaze, look watch,"
    " watch observe, watch view, wear dressed, dressed clothe, hold carry, asleep sleep, slide glide, stroll walk,"
    " hike walk, march walk, perform play, race compete, sail float, big large, small little, small tiny, young"
    " younger, old older, elderly old, elderly older, elderly senior, gold golden, tan beige, colorful"
    " multicolored, colorful colored, multicolored multi-colored, wooden wood, grassy grass, snowy snow, sandy"
    " sand, rocky rock, purple violet, crowded busy, huge large, huge big, giant large, giant huge, enormous huge,"
    " male man, female woman, metal metallic, striped stripe, plaid checkered, bearded beard, two couple, two"
    " pair, two both, twelve dozen, dirty muddy, smiling happy, black dark, oranges orange"
)
"""Pairs of base forms that people use interchangeably, besides WordNet's synsets."""

NOT_SYNONYMS = (
    "man serviceman, guy cat, child fry, child minor, child shaver, kid fry, kid minor, kid shaver, toddler fry,"
    " toddler minor, toddler shaver, youngster fry, youngster shaver, youngster minor, building construction, hat"
    " lid, toilet bathroom, toilet john, toilet can, toilet pot, toilet commode, player participant, floor story,"
    " floor level, pants drawers, sidewalk path, toddler tot, red cherry, red ruby, snowy white, sunny gay,"
    " festive gay, adult big, grown big, unique alone, lone alone, dark-skinned colored, colored dark-skinned,"
    " black-haired brown-haired, dark-haired brown-haired, dark-haired black-haired, bare naked, naked bare,"
    " second 2nd, single individual, passenger rider, market grocery, snow snowfall, kite glider, house family,"
    " family home, family house, night dark, watermelon melon, skateboarding skate, bride groom, boat gravy, dock"
    " harbor, cattle oxen, cattle cows, bus coach, umbrella canopy, flat plane, level plane, twin matching, stone"
    " pit, lawn yard, mean average, bicycle wheel, attire dress, garb dress, bike wheel, cake bar, shorts trunk,"
    " car machine, branch arm, human man, headphone phone, dusk fall, mitt hand, mitt paw, toilet stool, toilet"
    " throne, musician player, structure construction, blue-eyed white-haired"
)
"""Pairs that are synonyms in WordNet but not in captions."""

BROADER = {
    "beaver": "animal", "peacock": "bird animal", "mink": "animal", "cock": "chicken bird animal",
    "corn": "food vegetable", "cardigan": "sweater clothing", "locomotive": "train", "snowmobile": "vehicle",
    "cauliflower": "vegetable food", "cucumber": "vegetable food", "zucchini": "vegetable food",
    "squash": "vegetable food", "gondola": "boat", "bison": "buffalo", "warthog": "pig animal", "boar": "pig animal",
    "ram": "sheep animal", "gazelle": "deer animal", "impala": "deer animal", "antelope": "deer animal",
    "crib": "bed furniture", "kimono": "dress robe clothing", "schooner": "boat ship sailboat",
    "streetcar": "train vehicle", "tricycle": "bike", "unicycle": "bike", "boxer": "person dog animal",
    "snowplow": "vehicle", "catamaran": "boat", "yawl": "boat sailboat", "volcano": "mountain",
    "lakeside": "lake water", "seashore": "beach shore", "sandbar": "beach", "geyser": "water",
    "lobster": "animal food seafood", "warplane": "jet plane", "groom": "man person", "greenhouse": "building",
    "library": "building", "bookcase": "shelf furniture", "airship": "blimp aircraft", "hoopskirt": "dress",
    "ox": "cow cattle animal", "buffalo": "animal cow", "crowd": "person people", "audience": "person crowd",
    "team": "person player", "family": "person", "spectator": "person crowd", "boy": "child kid male",
    "girl": "child kid female", "toddler": "baby child kid", "infant": "baby", "baby": "child kid",
    "teenager": "person", "teen": "person teenager", "son": "boy child", "daughter": "girl child",
    "mother": "woman parent person", "father": "man parent person", "mom": "mother woman", "dad": "father man",
    "gentleman": "man person", "lady": "woman person", "guy": "man person", "cop": "police person",
    "policeman": "man police officer", "fireman": "man firefighter", "policewoman": "woman police officer",
    "businessman": "man", "fisherman": "man", "cowboy": "man rider person", "skateboarder": "skater person",
    "snowboarder": "person", "biker": "person rider", "cyclist": "person rider bicycle",
    "motorcyclist": "person rider", "jockey": "person rider", "surfer": "person surf", "skier": "person ski",
    "batter": "player person", "pitcher": "player person", "catcher": "player person", "umpire": "person",
    "goalie": "player person", "kayaker": "person kayak", "climber": "person climb", "scout": "person",
    "coworker": "person", "windsurfer": "person surfer", "wakeboarder": "person", "rollerskater": "person skater",
    "barista": "person", "beach": "shore", "fruit": "food", "cake": "food dessert", "band": "musician person",
    "officer": "person police", "police": "officer person", "roll": "bread food", "bikini": "swimsuit clothing",
    "television": "screen", "paddle": "racket oar row", "smash": "hit", "discuss": "talk speak",
    "whisper": "talk speak", "santa": "person man", "clown": "person performer", "cookie": "food dessert",
    "pathway": "path", "train": "vehicle", "bus": "vehicle", "subway": "train", "motorcycle": "bike vehicle",
    "bike": "vehicle", "scooter": "vehicle bike", "moped": "scooter bike vehicle", "van": "vehicle car",
    "taxi": "car vehicle", "cab": "taxi car vehicle", "suv": "car vehicle", "sedan": "car vehicle",
    "jeep": "car vehicle truck", "pickup": "truck vehicle", "fire_truck": "truck vehicle firetruck", "atv": "vehicle",
    "cart": "vehicle", "ship": "boat vessel", "canoe": "boat", "kayak": "boat", "sailboat": "boat", "raft": "boat",
    "ferry": "boat", "yacht": "boat", "rowboat": "boat", "jet": "plane aircraft", "jetliner": "plane jet",
    "airliner": "plane jet", "motorhome": "vehicle", "trailer": "vehicle", "tractor": "vehicle", "crane": "machine",
    "hot_dog": "food sausage sandwich", "teddy_bear": "toy teddy", "fire_hydrant": "hydrant",
    "bull": "animal cow cattle", "calf": "animal cow cattle", "steer": "animal cow cattle", "kitten": "cat animal",
    "lamb": "sheep animal", "pony": "horse animal", "foal": "horse animal", "colt": "horse animal", "cub": "animal",
    "tiger": "animal cat", "turkey": "bird animal", "puppy": "dog animal", "duckling": "duck bird", "mouse": "animal",
    "fish": "animal", "pitbull": "dog animal", "dalmatian": "dog animal", "husky": "dog animal",
    "terrier": "dog animal", "retriever": "dog animal", "shepherd": "dog animal", "pug": "dog animal",
    "bulldog": "dog animal", "parakeet": "bird animal", "tabby": "cat animal", "calico": "cat animal",
    "siamese": "cat animal", "plate": "dish", "bench": "furniture seat", "bar": "counter", "table": "furniture",
    "desk": "furniture table", "jersey": "clothing shirt uniform", "outfit": "clothing", "uniform": "clothing outfit",
    "suit": "clothing outfit", "t-shirt": "shirt clothing", "sweatshirt": "shirt sweater clothing",
    "hoodie": "sweatshirt shirt jacket clothing", "blouse": "shirt clothing", "polo": "shirt", "vest": "clothing",
    "jacket": "coat clothing", "jeans": "pants clothing", "shorts": "pants clothing", "slacks": "pants clothing",
    "trouser": "pants clothing", "tights": "clothing pants", "khakis": "pants clothing", "cap": "hat clothing",
    "hardhat": "hat helmet", "beanie": "hat cap clothing", "bonnet": "hat clothing", "sombrero": "hat clothing",
    "sunglasses": "glass", "goggles": "glass", "wetsuit": "clothing suit", "tracksuit": "clothing suit",
    "bodysuit": "clothing suit", "swimsuit": "clothing suit", "tuxedo": "suit clothing", "sneaker": "shoe",
    "boot": "shoe footwear", "sandal": "shoe footwear", "dress": "clothing", "gown": "dress clothing",
    "glove": "clothing", "mitt": "glove", "racket": "equipment", "mug": "cup container", "bowl": "dish container",
    "pot": "container", "pan": "container", "ocean": "water", "sea": "water", "lake": "water",
    "river": "water stream", "pond": "water", "pool": "water", "stream": "water", "wave": "water",
    "surf": "water wave", "creek": "water stream", "puddle": "water", "fountain": "water", "waterfall": "water",
    "lagoon": "water", "harbor": "water", "hillside": "hill", "mountainside": "mountain hill",
    "pasture": "field grass", "meadow": "field grass", "grassland": "field grass", "lawn": "grass yard",
    "prairie": "field grass", "savanna": "field grass", "highway": "road street", "alley": "street road",
    "roadway": "road street", "freeway": "road highway", "crosswalk": "street", "intersection": "street road",
    "driveway": "road", "runway": "tarmac", "boardwalk": "walkway", "palm": "tree plant", "pine": "tree plant",
    "bush": "plant", "shrub": "plant bush", "forest": "tree", "woods": "tree", "grove": "tree", "orchard": "tree",
    "jungle": "forest tree", "cupcake": "cake food dessert", "doughnut": "food pastry", "donut": "food pastry",
    "burger": "sandwich food", "sub": "sandwich food", "hamburger": "sandwich food", "toast": "bread food",
    "bun": "bread food", "bagel": "bread food", "cream": "food", "meat": "food", "fries": "food potato",
    "broccoli": "food vegetable", "carrot": "food vegetable", "salad": "food vegetable", "lettuce": "food vegetable",
    "tomato": "food vegetable", "onion": "food vegetable", "banana": "food fruit", "oranges": "fruit food",
    "strawberry": "fruit food", "pineapple": "fruit food", "pumpkin": "vegetable food", "pepper": "vegetable food",
    "mushroom": "food vegetable", "rice": "food", "espresso": "coffee drink", "cappuccino": "coffee drink",
    "latte": "coffee drink", "tea": "drink beverage", "milk": "drink", "wine": "drink", "beer": "drink",
    "soda": "drink", "juice": "drink", "chip": "food", "pie": "food dessert", "pancake": "food", "soup": "food",
    "sushi": "food", "nut": "food", "laptop": "computer", "notebook": "book", "iphone": "phone",
    "smartphone": "phone", "selfie": "photo", "monitor": "computer screen", "wii": "game", "nintendo": "game",
    "remote": "controller", "couch": "furniture seat", "recliner": "chair seat", "armchair": "chair seat",
    "stool": "seat chair", "frisbee": "disc disk toy", "soccer": "football sport game", "kite": "toy", "doll": "toy",
    "frying": "cook", "skateboarding": "skate", "nightstand": "table furniture", "stove": "appliance",
    "microwave": "oven appliance", "church": "building", "skyscraper": "building tower", "house": "building home",
    "cabin": "house building", "barn": "building", "hut": "house building", "cottage": "house building",
    "restaurant": "building", "cafe": "restaurant", "diner": "restaurant", "bistro": "restaurant cafe",
    "supermarket": "store market", "boutique": "store", "bakery": "store", "pier": "dock", "skatepark": "park ramp",
    "half-pipe": "ramp", "halfpipe": "ramp", "stovetop": "stove", "trashcan": "container",
    "tower": "building structure", "navy": "blue", "teal": "blue green", "turquoise": "blue green", "maroon": "red",
    "crimson": "red", "burgundy": "red", "violet": "purple", "lavender": "purple", "khaki": "tan brown",
    "beige": "brown tan", "tan": "brown", "blond-haired": "blond", "red-haired": "red", "gold": "yellow",
    "magenta": "pink purple", "sprint": "run", "jog": "run", "gallop": "run", "trot": "run walk", "dash": "run",
    "chase": "run", "stroll": "walk", "hike": "walk", "march": "walk", "strut": "walk", "wander": "walk",
    "stride": "walk", "graze": "eat stand", "munch": "eat", "chew": "eat", "nibble": "eat", "feed": "eat",
    "sip": "drink", "nap": "sleep", "snooze": "sleep", "asleep": "lie", "lounge": "lie sit", "recline": "lie sit",
    "perch": "sit", "somersault": "jump flip", "dive": "jump", "skydive": "jump", "hurdle": "jump", "pedal": "ride",
    "pitch": "throw", "fling": "throw", "hurl": "throw", "grip": "hold", "clutch": "hold", "cradle": "hold",
    "peer": "look", "peek": "look", "glance": "look", "gaze": "look", "stare": "look", "observe": "look watch",
    "slice": "cut", "chop": "cut", "carve": "cut", "bake": "cook", "grill": "cook", "huddle": "gather",
    "crouch": "bend", "dribble": "play", "swat": "hit", "strike": "hit", "volley": "hit", "giggle": "laugh smile",
    "laugh": "smile", "strum": "play",
}  # fmt: skip
"""Base form -> hypernyms in addition to WordNet's."""

NOT_BROADER = {
    "trail": "road track", "man": "worker", "child": "offspring", "kid": "offspring", "baby": "offspring",
    "puppy": "offspring", "toddler": "shaver", "officer": "man worker", "firefighter": "play recreation",
    "fireman": "play recreation", "climber": "flora plant vine", "bicycle": "container", "forest": "flora",
    "broccoli": "herb", "banana": "herb", "snow": "condition conditions weather", "frisbee": "circle plate round",
    "helmet": "plate shield", "beam": "piece", "vase": "vessel", "foam": "ball", "costume": "dress", "squat": "sit",
    "teenage": "person", "balloon": "aircraft craft vehicle", "chocolate": "beverage drink liquid",
    "sunglasses": "instrument", "goggles": "instrument", "clock": "instrument", "knife": "instrument",
    "scissors": "instrument", "meter": "instrument", "ramp": "machine", "cake": "block", "newspaper": "house",
    "skateboard": "vehicle", "khaki": "clothing pants", "human": "animal creature", "cheerleader": "friend",
    "barber": "artist musician", "mannequin": "person individual worker assistant", "pathway": "tissue",
    "fry": "food potato", "surfboard": "vehicle", "mouth": "structure",
}  # fmt: skip
"""Base form -> WordNet hypernyms that captions never mean."""

TOO_GENERAL = frozenset(
    "entity object whole unit artifact artefact instrumentality matter substance abstraction being organism cause"
    " relation group grouping measure attribute state event act deed activity location region cognition content"
    " communication device passageway area extremity process phenomenon point line shape form soul somebody"
    " someone body build figure frame construction portion component good wear stuff transport district territory"
    " solid action happening amount quantity organization formation land creation element cover covering"
    " collection protection support mechanism chemical period passage place position business property side force"
    " production product facility elevation installation subject opening sheet set control fixings fixing"
    " arrangement space case level condition effort order issue relative juvenile root conclusion ending fluid"
    " compound drug concern carrier establishment outlet possession mixture system section quality information tie"
    " strip slip slide band end top head heart middle center centre class community country capital port hand jack"
    " man's arm arms bar edge leader dweller defender protector preserver european supporter helper subordinate"
    " representative adult grownup modification motion movement change course circuit book-like fall can drop"
    " young slider slipper scale shell rig agency bureau authority law personnel gathering address approach access"
    " barrier framework enclosure boundary bounds bound divider partition spot scrap article ware receptacle"
    " controller ground earth soil color colour coat design pattern sweet power feeling study writing sound"
    " message energy symbol link bone character fastening handle mouth user consumer victim better simple standard"
    " icon choice determination option pick selection revolution trip trouble situation charge division station"
    " hold attachment surface field".split()
)
"""Words that are too general to be a hypernym."""

VERB_HYPERNYMS = frozenset(
    "walk jump look eat drink throw laugh smile cut cook clean dance sing swim fight climb skate ski sail row"
    " drive sleep sit stand kick pull push race wash paint".split()
)
"""The only verbs that count as hypernyms; WordNet's others ("move", "act", "make") are too general."""

SAME_AS_VERB = frozenset("ski skateboard surfboard snowboard bike bicycle paint brush smoke".split())
"""Nouns related to the verb of the same form, besides WordNet's: skis, and to ski."""
