-- How much there is of what the checks examine.
SELECT (SELECT count(*) FROM buckets) AS buckets,
       (SELECT count(*) FROM entries) AS entries,
       (SELECT count(*) FROM holds) AS holds,
       (SELECT count(*) FROM holds WHERE state = 'open') AS open_holds
