"""One file per illness. A rule is a function ``judge(chart) -> Finding | None``; the file also says when it is asked
(``STAGE``) and holds two small programs, one with the illness (``sick``) and one that only looks like it (``well``).
"""
