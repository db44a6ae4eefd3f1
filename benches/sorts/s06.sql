select count(*), sum(o_totalprice), max(o_comment) from (select * from orders order by o_totalprice desc, o_orderkey offset 1000) t
