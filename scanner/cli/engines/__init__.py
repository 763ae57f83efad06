"""Engines that run the chunks of a plan, each imported only when it is asked for. Only numbers of chunks travel."""
