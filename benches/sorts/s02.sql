select sum(r) from (select row_number() over (order by l_extendedprice) r, l_orderkey k from lineitem) t where r % 3 = 0
