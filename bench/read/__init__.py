"""What users bring, read in one place: texts, pictures, folders, weights, names. No torch.

`text.py` knows encodings and line ends, `json_text.py` and `table_text.py` what lies in texts,
`pictures.py` picture files, `folders.py` what else lies in folders, `weights.py` and `shards.py`
files of weights, `names.py` how words become names. Each refuses what it would have to guess at,
and says what it leaves out.
"""
