"""Where plug-ins announce themselves: the groups of entry points that this project reads."""

TRANSLATORS = "s2l.translators"  # methods, for `augment.translators`
