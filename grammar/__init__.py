"""The grammar: from JSON Schema, regex, choice or tool set to a byte automaton and token masks. Not built yet."""
