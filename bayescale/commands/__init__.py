"""The commands: each reads files, calls the public function of the same name and writes one file.

Nothing here computes. Heavy imports wait inside the functions, so that `bayescale --help` answers at once.
"""
