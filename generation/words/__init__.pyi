from .captions import Captioner as Captioner
from .config import WordsConfig as WordsConfig
from .keywords import KeywordExtractor as KeywordExtractor
