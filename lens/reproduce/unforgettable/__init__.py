"""Does training on random labels remove an ability, or only its items?"""
