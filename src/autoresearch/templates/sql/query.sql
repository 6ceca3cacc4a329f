select c.country, count(*), sum(o.cents)
from orders o join customers c on c.id = o.customer
where o.day between 100 and 120
group by c.country
order by c.country;
