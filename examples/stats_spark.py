"""Mean and standard deviation of a Spark DataFrame, on this machine (needs Java).

PYSPARK_PYTHON=$(which python) python examples/stats_spark.py
"""

import os
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import wellposed as wp


def main() -> None:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    frame = spark.range(1_000_000).select(F.randn(1).alias("a"), (F.randn(2) * 5 + 100).alias("b"))
    standardizer = wp.Standardizer().fit(frame)
    print("names", list(standardizer.feature_names_in_))
    print("mean ", standardizer.mean_)
    print("std  ", standardizer.scale_)
    spark.stop()


if __name__ == "__main__":
    main()
