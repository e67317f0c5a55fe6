-- The sums of a day in a currency are those of the export, to the last decimal.
{{ ads_reconcile(ref('campaign_daily')) }}
