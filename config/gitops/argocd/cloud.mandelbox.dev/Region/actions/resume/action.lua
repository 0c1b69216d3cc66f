-- Taken out and not set to false, so that an object whose manifest says nothing of it
-- is in sync with Git again.
obj.spec.suspend = nil
return obj
