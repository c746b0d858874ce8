-- Asks the newest roll-out of a Registry to abort.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["berth.dev/rollout-abort"] = obj.status.rollout.id .. " by Argo CD"
return obj
