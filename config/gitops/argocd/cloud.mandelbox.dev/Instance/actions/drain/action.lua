obj.spec.drain = true
return obj
