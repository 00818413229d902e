"""Views of the studies: attention and DictionaryLookup, as rows and drawn."""
