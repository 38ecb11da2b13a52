"""Pictures of tapes: `draw(loss).save("loss.svg")`."""

from tinygrad_seq.pictures.picture import Picture, draw

__all__ = ["Picture", "draw"]
