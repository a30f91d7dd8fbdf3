"""Read tables from files and check their columns.

columns          declare rules for the columns of a table
checks           check a table against the rules of its columns, and keep every digit of its numbers
stretches        find the stretches of equal values in a column
missing_columns  say which columns are missing, and recognise the tables of other tools
files            read the table in a file
csv_files        read a CSV file: its header, its names and its whole numbers
csv_layout       recognise the separator, the decimals and the encoding of a CSV file
datasets         read Parquet tables in partitions and at URLs
foreign_files    say what a file or a folder is that holds no table
sources          read the tables of several sources
paths            check paths and expand globs
"""

from bayescale.data.tables.checks import check_columns
from bayescale.data.tables.columns import Column, Table, columns_from_index, require_frame
from bayescale.data.tables.files import as_table, read_table

__all__ = ["Column", "Table", "as_table", "check_columns", "columns_from_index", "read_table", "require_frame"]
