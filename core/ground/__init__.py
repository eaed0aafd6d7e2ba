"""The foundation of all rooms: bilingual texts, errors, atomic files, workspace paths, the machine, installation."""
