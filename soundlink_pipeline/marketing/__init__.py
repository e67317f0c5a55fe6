"""Alerts for marketers: a campaign's money buys less than it should or than usual, or nothing, or goes off pace.

The rules read the published file's marts. A sensor looks at each new publication and sends what it finds, each at most
once a day.
"""
