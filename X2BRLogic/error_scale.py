"""The scale of colours by which expected errors are shown, alike in the panel and in the report."""

#: From none to the highest: viridis, from yellow to violet.
ERROR_COLOURS = ("#fde725", "#90d743", "#35b779", "#21918c", "#31688e", "#443983", "#440154")
#: All beyond has the last colour.
HIGHEST_ERROR_MM = 20.0
