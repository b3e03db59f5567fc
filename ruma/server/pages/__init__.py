"""The pages for people: the chat for visitors, and everything that members work with."""
