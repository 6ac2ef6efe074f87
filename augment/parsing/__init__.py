"""The face parsing network: its teachers, its training, its use."""
