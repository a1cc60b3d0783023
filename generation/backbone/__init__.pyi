from .backbone import Backbone as Backbone
from .codec import LinearCodec as LinearCodec
from .config import DualEncoderConfig as DualEncoderConfig
from .config import PretrainConfig as PretrainConfig
from .config import UNetConfig as UNetConfig
from .dual_encoder import train_dual_encoder as train_dual_encoder
from .pretrain import train_unet as train_unet
