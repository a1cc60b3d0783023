from . import shards as shards
from .picture_files import PictureFormat as PictureFormat
from .picture_files import write_picture_files as write_picture_files
from .shards import ImageShards as ImageShards
from .store import Store as Store
