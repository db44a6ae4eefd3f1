select sum(r), max(k) from (select row_number() over (order by l_shipdate, l_extendedprice, l_orderkey, l_linenumber) r, l_orderkey k from lineitem) t where r % 3 = 0
