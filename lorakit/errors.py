"""The one exception for what a learner can mend."""


class LorakitError(Exception):
    """Something the learner can mend: the message is one sentence that names the value and the way out.

    The command line prints it without a traceback.
    """
