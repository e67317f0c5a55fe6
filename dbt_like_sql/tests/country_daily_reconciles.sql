-- The sums of an account's day in a currency are those of the export, to the last decimal.
{{ ads_reconcile(ref('country_daily'), by=['account_id', 'report_date', 'currency']) }}
