"""Does reinforcement teach facts, or to walk what is known? Two checkpoints side by side on a tree that is known."""
