"""Runs SQL on the catalog database of a warehouse that nobody serves.

    python alter_catalog.py --data DIR --sql TEXT
"""
import argparse
import pathlib
import sqlite3

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True, type=pathlib.Path)
parser.add_argument("--sql", required=True)
arguments = parser.parse_args()
connection = sqlite3.connect(arguments.data / "catalog.db")
connection.executescript(arguments.sql)
connection.close()
