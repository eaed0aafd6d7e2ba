"""What every room builds on: texts in two languages, errors, atomic files, every path of the workspace, the machine,
installation.
"""
