from . import dual as dual
from .dual import OpenClipEncoder as OpenClipEncoder
from .encoder import ImageEncoder as ImageEncoder
from .encoder import encode_in_blocks as encode_in_blocks
from .hog import HogEncoder as HogEncoder
from .sentences import SentenceEncoder as SentenceEncoder
from .timm import TimmEncoder as TimmEncoder
from .timm import timm_names as timm_names
