"""A table in the shape of ClickBench's `hits` (github.com/ClickHouse/ClickBench), made up: 32 columns of skewed numbers, dates, text
and decimals, in the order of time but for some disorder. Not ClickBench's data, so its figures do not compare with that site's.

    python benches/compare/hits.py FILE.parquet [ROWS]
"""
import sys

WORDS = ("news auto sport music video kino foto mail search shop travel hotel game chat forum weather map bank credit moda recept school "
         "job house flat rent taxi pizza doctor google yandex ozon avito drom irr kolesa bonprix").split()
MODELS = ["", "iPhone 2", "iPad", "Nokia E5", "Galaxy S", "HTC One", "Lumia 800", "Xperia"]


def uniform(salt):
    """A number in [0, 1) that row and salt determine."""
    return f"(hash(i, {salt}) >> 11) / 9007199254740992.0"


def skewed(salt, count, power):
    """One of `count` numbers, small ones more often: the inverse of a power law."""
    return f"cast(floor({count} * pow({uniform(salt)}, {power})) as bigint)"


def word(number, salt):
    return f"words[1 + cast(hash({number}, {salt}) % {len(WORDS)} as int)]"


def statement(file, rows):
    urls, phrases, titles, users = (max(count * rows // 10_000_000, 100) for count in (1_500_000, 600_000, 400_000, 2_000_000))
    url = lambda number: (f"case when {number} = 0 then '' else concat('http://', {word(number, 1)}, '-', {word(number, 2)}, {number} % 5000, '.example.ru/', "
                          f"{word(number, 3)}, '/', {word(number, 4)}, '?id=', {number} * 7919 % 10000019) end")
    return f"""
copy (
    with drawn as (
        select i, {list(WORDS)} as words, {list(MODELS)} as models,
            {skewed(1, users, 3)} as u, {skewed(2, urls, 6)} as l,
            case when {uniform(3)} < 0.3 then 0 else {skewed(4, urls, 8)} end as r,
            case when {uniform(5)} < 0.85 then 0 else {skewed(6, phrases, 3)} end as p,
            {skewed(7, 40, 8)} as phone, {skewed(8, 8, 2)} as w,
            1372636800 + cast(i * 2678399.0 / {rows} + ({uniform(9)} - 0.5) * 14400 as bigint) as moment
        from range({rows}) as t(i)
    )
    select
        cast(hash(i, 10) >> 2 as bigint) as watchid,
        cast({uniform(11)} < 0.7 as smallint) as javaenable,
        case when l % {titles} = 0 then '' else concat(if(l % 50 = 7, 'Google ', ''), {word(f'l % {titles}', 5)}, ' ', {word(f'l % {titles}', 6)}, ' - ',
            {word(f'l % {titles}', 7)}, ' | ', l % {titles}) end as title,
        cast(1 as smallint) as goodevent,
        make_timestamp(greatest(least(moment, 1375315199), 1372636800) * 1000000) as eventtime,
        cast(make_timestamp(greatest(least(moment, 1375315199), 1372636800) * 1000000) as date) as eventdate,
        cast(case when {uniform(12)} < 0.07 then 62 else 1 + {skewed(13, 6500, 5)} end as int) as counterid,
        cast(u * 2654435761 % 2147483648 as int) as clientip,
        cast({skewed(14, 9000, 6)} as int) as regionid,
        cast(hash(u, 15) >> 1 as bigint) as userid,
        cast(hash(i, 16) % 3 as smallint) - 1::smallint as counterclass,
        cast({skewed(17, 90, 5)} as smallint) as os,
        cast({skewed(18, 80, 5)} as smallint) as useragent,
        {url('l')} as url,
        {url('r')} as referer,
        cast({uniform(19)} < 0.1 as smallint) as isrefresh,
        cast([0, 1024, 1280, 1366, 1440, 1600, 1920, 2560][1 + w] as smallint) as resolutionwidth,
        cast([0, 576, 720, 768, 810, 900, 1080, 1440][1 + w] as smallint) as resolutionheight,
        cast(phone as smallint) as mobilephone,
        models[case when phone = 0 then 1 else 2 + phone % 7 end] as mobilephonemodel,
        cast({skewed(20, 10, 3)} - 1 as smallint) as traficsourceid,
        cast(case when p = 0 then 0 else 1 + {skewed(21, 60, 5)} end as smallint) as searchengineid,
        case when p = 0 then '' else concat({word('p', 8)}, ' ', {word('p', 9)}, ' ', {word('p', 10)}, ' ', p) end as searchphrase,
        cast(case when {uniform(22)} < 0.03 then 1 + hash(i, 23) % 29 else 0 end as smallint) as advengineid,
        cast({uniform(24)} < 0.05 as smallint) as islink,
        cast({uniform(25)} < 0.01 as smallint) as isdownload,
        cast({uniform(26)} < 0.05 as smallint) as dontcounthits,
        cast(hash(l, 27) >> 1 as bigint) as urlhash,
        cast(hash(r, 27) >> 1 as bigint) as refererhash,
        cast({skewed(28, 2600, 2)} as int) as windowclientwidth,
        cast(least(100 / pow(1 - {uniform(29)}, 0.77), 1000000) as int) as sendtiming,
        cast(least(10 / pow(1 - {uniform(30)}, 0.66), 999999) as decimal(12, 2)) as price
    from drawn
) to '{file}' (format parquet, compression zstd, compression_level 1, row_group_size 500000)"""


def generate(file, rows):
    """Made once."""
    import duckdb
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        duckdb.connect().execute(statement(unfinished, rows))
        unfinished.rename(file)
    return file


if __name__ == "__main__":
    from pathlib import Path
    generate(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000)
