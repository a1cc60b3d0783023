from .backbone import Backbone as Backbone
from .codec import LinearCodec as LinearCodec
from .config import PretrainConfig as PretrainConfig
from .dual_encoder import train_dual_encoder as train_dual_encoder
from .pretrain import train_unet as train_unet
