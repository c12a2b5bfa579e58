"""The public notice as citizens read it: the words in two languages, the page, the JSON."""
