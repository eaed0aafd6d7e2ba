"""Wrong lines on purpose: `make mutants` changes the files that decide most, one place at a time, and runs their tests.

A mutant that no test notices is either a missing test or a line that decides nothing. `chosen` says which files and
which tests; `kinds` which changes; `session` which mutants there are and how each one went; `tree` and `forked` run the
tests; `page` draws docs/mutants.md. Not a part of `make test`: it takes minutes.
"""
