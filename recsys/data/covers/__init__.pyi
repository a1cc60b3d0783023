from .film_cover import cover as cover
