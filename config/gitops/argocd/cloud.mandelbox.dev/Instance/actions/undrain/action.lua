obj.spec.drain = nil
return obj
