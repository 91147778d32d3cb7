T = r"categories cat_winner {prompt} {{a}}"
y = "{}".format(T)
print(T.format(prompt=p))
