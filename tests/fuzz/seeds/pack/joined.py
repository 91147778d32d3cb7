x = ('Judge {x} categories [' + item["p"] + "]\n"
  'cat_winner ' f'{{}}')
