"""Learning from faces: networks, training sets (arms), training, evaluation, the judge and the classical rows."""
