"""Personal data in texts from production, replaced by fictional values before anything is written.

`mask.py` is the front door. What is found is in contacts.py, addresses.py and people.py, the words by which names are
told from other words in dictionaries.py, what is put in place in fiction.py. Reading production is not here.
"""
