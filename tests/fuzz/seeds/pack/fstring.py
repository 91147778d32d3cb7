def f(item):
    # a comment
    x = f"""Judge [{item["prompt"]}] {{"categories": [], "cat_winner": "", "winner": ""}}\n\x41\u00e9"""
