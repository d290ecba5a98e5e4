"""How good a model is: accuracy on sources, direct or by chain of thought, with intervals, alone or against another."""
