select sum(r), max(k) from (select row_number() over (order by l_comment, l_orderkey, l_linenumber) r, l_comment k from lineitem) t where r % 3 = 0
