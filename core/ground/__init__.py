"""What every room stands on: texts in two languages, errors, atomic files, every path of the workspace, the machine,
the set-up.
"""
