"""What a folder is: which files could be edited, which command measures, what a tree of it needs beyond git. Only looks."""

from autoresearch.detect.files import Files
from autoresearch.detect.guesses import about, guesses
from autoresearch.detect.needs import Needs, for_command, missing, needs
from autoresearch.detect.records import Guess, Number, direction_of

__all__ = ["Files", "Guess", "Needs", "Number", "about", "direction_of", "for_command", "guesses", "missing", "needs"]
