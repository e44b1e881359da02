"""The `spendgate` command: one file a command, no logic of its own, only calls and what a person sees of them."""
